"""What importing costs, and who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zlpr_hf

PACKAGE = Path(zlpr_hf.__file__).parent

# Data flows one way, and so do imports: a module may import from those named here, and no other.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "files.__init__": set(),
    "inference.__init__": set(),
    "losses.__init__": set(),
    "metrics.__init__": set(),
    "models.__init__": set(),
    "reports.__init__": set(),
    "training.__init__": set(),
    "workflows.__init__": set(),
    "data.streaming.__init__": set(),
    "workflows.argument_checks": {
        "workflows.arguments",
        "choices",
        "data.corpora",
        "errors",
        "models.lora",
        "losses.modules",
        "metrics.multi_label",
        "metrics.top_k",
        "training.arguments",
    },
    "workflows.arguments": {"errors", "training.arguments", "files.atomic", "files.yaml_mapping"},
    "inference.attribution": {"inference.classifier", "errors"},
    "losses.baselines": {"losses.numerics"},
    "metrics.bootstrap": {"metrics.multi_label"},
    "training.nonfinite": set(),
    "inference.label_file": {
        "inference.parted_file",
        "data.row_reader",
        "inference.row_writer",
        "choices",
        "inference.classifier",
        "errors",
        "distributed",
        "scores",
    },
    "inference.parted_file": {"errors", "files.atomic"},
    "data.row_reader": {"data.columns", "errors", "files.json_lines"},
    "inference.row_writer": {"data.row_reader", "errors"},
    "reports.svg": set(),
    "training.checkpoint_trainer": {"training.checkpoints"},
    "training.checkpoints": {"errors", "labels", "files.atomic"},
    "choices": set(),
    "training.chunked_head": {"losses.large_label_space", "metrics.top_k"},
    "inference.classifier": {
        "choices",
        "errors",
        "labels",
        "models.loading",
        "files.new_folder",
        "inference.onnx_model",
        "losses.powerset",
        "scores",
        "thresholds",
        "metrics.top_k",
        "models.trained",
        "inference.window_logits",
        "inference.windows",
    },
    "cli.__init__": set(),
    "cli.parser": {"errors"},
    "workflows.comparison.__init__": set(),
    "workflows.comparison.gathering": {
        "workflows.arguments",
        "training.checkpoints",
        "workflows.comparison.plan",
        "workflows.comparison.statistics",
        "data.dataset",
        "losses.modules",
        "files.atomic",
        "workflows.baselines",
    },
    "workflows.comparison.plan": {
        "workflows.argument_checks",
        "workflows.arguments",
        "choices",
        "errors",
        "files.yaml_mapping",
    },
    "workflows.comparison.plots": {
        "workflows.comparison.gathering",
        "workflows.comparison.statistics",
        "workflows.comparison.table",
        "errors",
        "files.atomic",
    },
    "workflows.comparison.statistics": {"metrics.bootstrap", "metrics.multi_label", "thresholds"},
    "workflows.comparison.table": {
        "workflows.comparison.gathering",
        "workflows.comparison.statistics",
    },
    "losses.registry": {"losses.modules"},
    "training.cost": set(),
    "data.__init__": set(),
    "data.collator": {"data.targets"},
    "data.columns": {"errors"},
    "data.corpora": {"data.reuters_topics", "errors"},
    "data.dataset": {
        "data.columns",
        "data.label_columns",
        "data.sources",
        "data.splits",
        "data.targets",
        "errors",
        "labels",
        "reports.provenance",
    },
    "data.encoding": {"errors"},
    "data.evaluation_set": {
        "data.dataset",
        "data.label_columns",
        "data.targets",
        "errors",
        "labels",
    },
    "data.label_columns": {"choices", "data.columns", "data.sources", "errors"},
    "data.label_names": {"errors"},
    "training.dataloaders": {"training.sampler", "data.streaming.batches"},
    "data.profile": {"data.dataset", "data.streaming.streamed_data", "files.atomic"},
    "data.reuters_topics": set(),
    "data.streaming.row_stream": {"data.row_reader", "data.sources", "errors"},
    "training.sampler": set(),
    "data.sources": {"data.columns", "data.corpora", "errors", "files.json_lines"},
    "data.splits": {"errors"},
    "data.streaming.streamed_data": {
        "data.dataset",
        "data.label_columns",
        "data.streaming.row_stream",
        "data.streaming.batches",
        "errors",
        "labels",
    },
    "data.streaming.batches": {"data.label_columns", "data.streaming.row_stream", "errors"},
    "data.targets": set(),
    "inference.demo_page": {
        "inference.attribution",
        "inference.classifier",
        "models.loading",
        "scores",
        "inference.windows",
    },
    "training.distillation": {"errors", "labels", "models.loading", "files.atomic"},
    "training.dropout": {"losses.numerics"},
    "errors": set(),
    "workflows.evaluate": {
        "metrics.bootstrap",
        "choices",
        "inference.classifier",
        "data.evaluation_set",
        "errors",
        "reports.sanity_checks",
        "metrics.multi_label",
        "reports.provenance",
        "reports.report",
        "thresholds",
        "metrics.top_k",
        "files.atomic",
    },
    "workflows.export": {
        "choices",
        "inference.classifier",
        "errors",
        "files.new_folder",
        "inference.onnx_model",
        "reports.provenance",
        "inference.windows",
    },
    "reports.sanity_checks": {"data.profile"},
    "training.cpu_speedups": {"training.dropout", "models.first_token"},
    "models.first_token": {"models.pooling"},
    "full_disk": set(),
    "losses.zlpr": {"losses.fused", "losses.numerics"},
    "losses.fused": {"losses.numerics"},
    "models.head_init": {
        "errors",
        "labels",
        "models.loading",
        "losses.powerset",
        "files.yaml_mapping",
    },
    "training.head_rate": set(),
    "reports.html": {
        "metrics.bootstrap",
        "reports.svg",
        "losses.zlpr",
        "metrics.multi_label",
        "reports.report",
        "reports.figures",
        "scores",
        "files.atomic",
    },
    "workflows.push": {"training.checkpoints", "errors"},
    "models.paths": {"errors"},
    "files.json_lines": set(),
    "labels": {"errors"},
    "losses.large_label_space": {"losses.numerics"},
    "workflows.load_data": {
        "workflows.arguments",
        "data.dataset",
        "data.label_columns",
        "data.label_names",
        "data.streaming.row_stream",
        "data.sources",
        "data.streaming.streamed_data",
        "errors",
    },
    "workflows.logits": {"errors", "metrics.top_k", "training.trainer", "files.atomic"},
    "models.lora": {"errors", "models.loading"},
    "losses.modules": {"losses.baselines", "losses.zlpr", "losses.numerics", "losses.powerset"},
    "metrics.multi_label": set(),
    "reports.model_card": {
        "reports.svg",
        "data.corpora",
        "workflows.push",
        "metrics.multi_label",
        "reports.report",
        "files.atomic",
    },
    "models.loading": {
        "choices",
        "errors",
        "models.paths",
        "labels",
        "models.pooling",
        "losses.powerset",
    },
    "files.new_folder": {"errors"},
    "losses.numerics": set(),
    "training.objective": {"losses.zlpr", "losses.modules", "losses.smoothing"},
    "inference.onnx_model": {"choices", "errors", "models.first_token"},
    "out_of_memory": set(),
    "workflows.outcome": {
        "choices",
        "data.dataset",
        "workflows.logits",
        "losses.modules",
        "metrics.multi_label",
        "models.loading",
        "thresholds",
        "metrics.top_k",
        "training.trainer",
    },
    "inference.pipeline": {"choices", "inference.classifier", "errors", "models.loading", "scores"},
    "models.pooling": set(),
    "losses.powerset": {"errors", "labels", "losses.numerics"},
    "distributed": {"errors"},
    "training.callbacks": set(),
    "reports.provenance": set(),
    "reports.report": {
        "data.profile",
        "metrics.multi_label",
        "reports.provenance",
        "thresholds",
        "files.atomic",
    },
    "reports.figures": {"reports.svg", "metrics.multi_label", "reports.report", "scores"},
    "scores": {"errors"},
    "losses.smoothing": {"losses.numerics"},
    "training.step_trainer": {
        "training.nonfinite",
        "training.checkpoint_trainer",
        "training.dataloaders",
        "training.sampler",
        "data.streaming.batches",
        "training.cpu_speedups",
    },
    "thresholds": {"choices", "metrics.multi_label"},
    "metrics.top_k": {"metrics.multi_label"},
    "models.trained": {"errors", "models.lora", "models.loading"},
    "training.trainer": {
        "training.chunked_head",
        "training.head_rate",
        "losses.modules",
        "metrics.multi_label",
        "models.loading",
        "training.objective",
        "training.step_trainer",
    },
    "training.arguments": {"losses.modules", "losses.smoothing"},
    "workflows.tuning.__init__": set(),
    "workflows.tuning.journal": {"errors", "workflows.tuning.plan"},
    "workflows.tuning.plan": {
        "workflows.argument_checks",
        "workflows.arguments",
        "errors",
        "losses.modules",
        "metrics.multi_label",
        "workflows.tuning.space",
    },
    "workflows.tuning.space": {
        "workflows.arguments",
        "errors",
        "training.arguments",
        "files.yaml_mapping",
    },
    "workflows.tuning.table": {"workflows.tuning.plan"},
    "files.atomic": set(),
    "inference.window_logits": {"models.first_token", "inference.onnx_model", "losses.powerset"},
    "inference.windows": {"choices"},
    "files.yaml_mapping": {"errors"},
    "workflows.baselines": {"data.dataset", "data.streaming.streamed_data", "metrics.multi_label"},
}
# What a user calls: the commands, and the flows that go through everything.
KNOWS_EVERYTHING = {
    "__main__",
    "cli.__main__",
    "cli.main",
    "workflows.comparison.running",
    "workflows.finetune",
    "workflows.prepare",
    "workflows.reproduce",
    "workflows.tuning.running",
} | {
    f"cli.{name}"
    for name in (
        "train",
        "compare",
        "predict",
        "evaluate",
        "export",
        "push",
        "demo",
        "reproduce",
        "tune",
    )
}


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    guarded = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    return {
        node.module.removeprefix("zlpr_hf.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and id(node) not in guarded
        and (node.module or "").startswith("zlpr_hf.")
    }


def test_imports_flow_one_way() -> None:
    found = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): imports_of(path)
        for path in PACKAGE.rglob("*.py")
    }
    assert set(found) == set(MAY_IMPORT) | KNOWS_EVERYTHING
    for name, modules in found.items():
        if name not in KNOWS_EVERYTHING:
            assert modules <= MAY_IMPORT[name], name


def test_the_table_has_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {
            name for name, modules in MAY_IMPORT.items() if name not in done and modules <= done
        }
        assert ready, set(MAY_IMPORT) - done
        done |= ready


HEAVY = "{'torch', 'transformers', 'datasets'}"


def test_importing_the_package_is_light() -> None:
    code = f"import sys, zlpr_hf; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        *([name, "--help"] for name in ("predict", "evaluate", "export", "push", "demo", "tune")),
        ["reproduce", "nowhere"],
        ["predict", "model", "--input", "nowhere.csv"],
        ["evaluate", "model", "--resamples", "0"],
        ["demo", "model", "--port", "99999"],
    ],
)
def test_help_and_wrong_options_do_not_wait_for_torch(argv: list[str]) -> None:
    code = f"""
import sys
from zlpr_hf.cli.main import main
try:
    status = main({argv})
except SystemExit as end:
    status = end.code
assert status == {0 if "--help" in argv else 2}, status
assert not {HEAVY} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", zlpr_hf.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(zlpr_hf, name)
    assert name in dir(zlpr_hf)
    # A dictionary has no words of its own: how it is used stands where it is used.
    text = zlpr_hf.build_loss.__doc__ if name == "LOSSES" else value.__doc__
    # doctest runs what stands there, in the module that the name comes from.
    example = text.partition("    Example:\n")[2]
    assert ">>> " in example
    assert re.search(rf"\b{name}\b", example)
    assert "SKIP" not in example


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'zlpr'"):
        _ = zlpr_hf.zlpr
