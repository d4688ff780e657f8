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
    "argument_checks": {
        "arguments",
        "choices",
        "data.corpora",
        "errors",
        "lora",
        "losses",
        "metrics",
        "top_k",
        "training_arguments",
    },
    "arguments": {"errors", "training_arguments", "whole_file", "yaml_file"},
    "attribution": {"classifier", "errors"},
    "baselines": {"numerics"},
    "bootstrap": {"metrics"},
    "breakdown": set(),
    "bulk.__init__": set(),
    "bulk.labelling": {
        "bulk.parts",
        "bulk.reading",
        "bulk.writing",
        "choices",
        "classifier",
        "errors",
        "processes",
        "scores",
    },
    "bulk.parts": {"errors", "whole_file"},
    "bulk.reading": {"data.columns", "errors", "json_line"},
    "bulk.writing": {"bulk.reading", "errors"},
    "charts": set(),
    "checkpoint_trainer": {"checkpoints"},
    "checkpoints": {"errors", "label_space", "whole_file"},
    "choices": set(),
    "chunked_head": {"large_labels", "top_k"},
    "classifier": {
        "choices",
        "errors",
        "label_space",
        "modeling",
        "new_folder",
        "onnx_model",
        "powerset",
        "scores",
        "thresholds",
        "top_k",
        "trained_model",
        "window_logits",
        "windows",
    },
    "commands.__init__": set(),
    "commands.parser": {"errors"},
    "comparison.__init__": set(),
    "comparison.gathering": {
        "arguments",
        "checkpoints",
        "comparison.plan",
        "comparison.statistics",
        "data.dataset",
        "losses",
        "whole_file",
        "yardsticks",
    },
    "comparison.plan": {"argument_checks", "arguments", "choices", "errors", "yaml_file"},
    "comparison.plots": {
        "comparison.gathering",
        "comparison.statistics",
        "comparison.table",
        "errors",
        "whole_file",
    },
    "comparison.statistics": {"bootstrap", "metrics", "thresholds"},
    "comparison.table": {"comparison.gathering", "comparison.statistics"},
    "compute_loss_func": {"losses"},
    "cost": set(),
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
        "label_space",
        "provenance",
    },
    "data.encoding": {"errors"},
    "data.evaluation_set": {
        "data.dataset",
        "data.label_columns",
        "data.targets",
        "errors",
        "label_space",
    },
    "data.label_columns": {"choices", "data.columns", "data.sources", "errors"},
    "data.label_names": {"errors"},
    "data.loaders": {"data.sampler", "data.streaming"},
    "data.profile": {"data.dataset", "data.streamed_data", "whole_file"},
    "data.reuters_topics": set(),
    "data.row_stream": {"bulk.reading", "data.sources", "errors"},
    "data.sampler": set(),
    "data.sources": {"data.columns", "data.corpora", "errors", "json_line"},
    "data.splits": {"errors"},
    "data.streamed_data": {
        "data.dataset",
        "data.label_columns",
        "data.row_stream",
        "data.streaming",
        "errors",
        "label_space",
    },
    "data.streaming": {"data.label_columns", "data.row_stream", "errors"},
    "data.targets": set(),
    "demo": {"attribution", "classifier", "modeling", "scores", "windows"},
    "distillation": {"errors", "label_space", "modeling", "whole_file"},
    "dropout": {"numerics"},
    "errors": set(),
    "evaluation": {
        "bootstrap",
        "choices",
        "classifier",
        "data.evaluation_set",
        "errors",
        "findings",
        "metrics",
        "provenance",
        "report",
        "thresholds",
        "top_k",
        "whole_file",
    },
    "exporting": {
        "choices",
        "classifier",
        "errors",
        "new_folder",
        "onnx_model",
        "provenance",
        "windows",
    },
    "findings": {"data.profile"},
    "fast_training": {"dropout", "first_token"},
    "first_token": {"pooling"},
    "full_disk": set(),
    "functional": {"fused", "numerics"},
    "fused": {"numerics"},
    "head_init": {"errors", "label_space", "modeling", "powerset", "yaml_file"},
    "head_rate": set(),
    "html_report": {
        "bootstrap",
        "charts",
        "functional",
        "metrics",
        "report",
        "report_charts",
        "scores",
        "whole_file",
    },
    "hub": {"checkpoints", "errors"},
    "hub_connection": {"errors"},
    "json_line": set(),
    "label_space": {"errors"},
    "large_labels": {"numerics"},
    "loading": {
        "arguments",
        "data.dataset",
        "data.label_columns",
        "data.label_names",
        "data.row_stream",
        "data.sources",
        "data.streamed_data",
        "errors",
    },
    "logits": {"errors", "top_k", "trainer", "whole_file"},
    "lora": {"errors", "modeling"},
    "losses": {"baselines", "functional", "numerics", "powerset"},
    "metrics": set(),
    "model_card": {"charts", "data.corpora", "hub", "metrics", "report", "whole_file"},
    "modeling": {"choices", "errors", "hub_connection", "label_space", "pooling", "powerset"},
    "new_folder": {"errors"},
    "numerics": set(),
    "objective": {"functional", "losses", "smoothing"},
    "onnx_model": {"choices", "errors", "first_token"},
    "out_of_memory": set(),
    "outcome": {
        "choices",
        "data.dataset",
        "logits",
        "losses",
        "metrics",
        "modeling",
        "thresholds",
        "top_k",
        "trainer",
    },
    "pipeline": {"choices", "classifier", "errors", "modeling", "scores"},
    "pooling": set(),
    "powerset": {"errors", "label_space", "numerics"},
    "processes": {"errors"},
    "progress": set(),
    "provenance": set(),
    "report": {"data.profile", "metrics", "provenance", "thresholds", "whole_file"},
    "report_charts": {"charts", "metrics", "report", "scores"},
    "scores": {"errors"},
    "smoothing": {"numerics"},
    "step_trainer": {
        "breakdown",
        "checkpoint_trainer",
        "data.loaders",
        "data.sampler",
        "data.streaming",
        "fast_training",
    },
    "thresholds": {"choices", "metrics"},
    "top_k": {"metrics"},
    "trained_model": {"errors", "lora", "modeling"},
    "trainer": {
        "chunked_head",
        "head_rate",
        "losses",
        "metrics",
        "modeling",
        "objective",
        "step_trainer",
    },
    "training_arguments": {"losses", "smoothing"},
    "tuning.__init__": set(),
    "tuning.journal": {"errors", "tuning.plan"},
    "tuning.plan": {"argument_checks", "arguments", "errors", "losses", "metrics", "tuning.space"},
    "tuning.space": {"arguments", "errors", "training_arguments", "yaml_file"},
    "tuning.table": {"tuning.plan"},
    "whole_file": set(),
    "window_logits": {"first_token", "onnx_model", "powerset"},
    "windows": {"choices"},
    "yaml_file": {"errors"},
    "yardsticks": {"data.dataset", "data.streamed_data", "metrics"},
}
# What a user calls: the commands, and the flows that go through everything.
KNOWS_EVERYTHING = {
    "cli",
    "comparison.running",
    "finetuning",
    "preparing",
    "reproduction",
    "tuning.running",
} | {
    f"commands.{name}"
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
from zlpr_hf.cli import main
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
