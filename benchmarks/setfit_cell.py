"""Train SetFit on one sample; run by benchmarks.few_texts with the Python of another environment.

SetFit 1.2 requires transformers 4, so it cannot be installed beside this package. The body is
trained once; its embeddings serve a head with and one without class weights.

Run: PYTHON benchmarks/setfit_cell.py SPEC.json RESULT.npz
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


def main() -> None:
    """Read the sample, train, and save scores of the test texts and seconds."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    start = time.perf_counter()
    model = SetFitModel.from_pretrained(spec["model"], multi_target_strategy="one-vs-rest")
    rows = Dataset.from_dict({"text": spec["texts"], "label": spec["targets"]})
    arguments = TrainingArguments(
        output_dir=f"{sys.argv[2]}.checkpoints",
        num_iterations=spec["num_iterations"],
        seed=spec["seed"],
        save_strategy="no",
        report_to="none",
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    if spec["shortened"]:
        model.model_body.max_seq_length = 128
    # Without cache_enabled=False, each forward pass would use the weights before the first step.
    half = torch.autocast("cpu", torch.bfloat16, enabled=spec["shortened"], cache_enabled=False)
    with half:
        trainer.train_embeddings(spec["texts"], spec["targets"], args=arguments)
    features = model.encode(spec["texts"], show_progress_bar=False)
    trained = time.perf_counter() - start
    test = model.encode(spec["test_texts"], show_progress_bar=False)
    scores, seconds = {}, {}
    for name, weight in (("default", None), ("balanced", "balanced")):
        before = time.perf_counter()
        head = OneVsRestClassifier(LogisticRegression(class_weight=weight))
        head.fit(features, np.array(spec["targets"]))
        seconds[name] = trained + time.perf_counter() - before
        scores[name] = head.predict_proba(test).astype(np.float32)
    packages = ("setfit", "sentence-transformers", "transformers", "torch", "scikit-learn")
    facts = {
        "seconds": seconds,
        "shortened": spec["shortened"],
        "steps": trainer.st_trainer.state.global_step,
        "versions": {name: version(name) for name in packages},
    }
    np.savez(sys.argv[2], **scores, facts=json.dumps(facts))


if __name__ == "__main__":
    main()
