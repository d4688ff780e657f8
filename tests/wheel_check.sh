#!/bin/sh
# Build the release, install it in a new environment from an index, and use it in an empty folder.
# Run: make wheel-check. The archives are in dist/ afterwards.
set -eu
unset PYTHONPATH  # pip would take a checkout on it for the installed package
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/tools"
"$place/tools/bin/pip" install --quiet build twine
rm -rf build dist
"$place/tools/bin/python" -m build --outdir dist .
"$place/tools/bin/python" -m twine check --strict dist/*
wheel=$(ls "$PWD"/dist/*.whl)

"${PYTHON:-python3}" -m venv "$place/environment"
"$place/environment/bin/pip" install --quiet "$(grep '^torch==' constraints.txt)"
"$place/environment/bin/pip" install --quiet "$wheel[quickstart,onnx]"
mkdir "$place/empty"
cd "$place/empty"
PATH="$place/environment/bin:$PATH"
zlpr train --recipes
zlpr train quickstart --num_train_epochs 1
echo "The malware deletes its own log files." | zlpr predict out/quickstart
zlpr evaluate out/quickstart
zlpr export out/quickstart
python -c "from zlpr_hf import load_pipeline; print(load_pipeline('out/quickstart')('It steals passwords from browsers.'))"
