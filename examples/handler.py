"""Serve a model on Hugging Face Inference Endpoints with the answers of load_pipeline.

Put this file and a requirements.txt with a line that installs zlpr_hf beside config.json:

    hf upload YOUR_NAME/MODEL examples/handler.py handler.py

A request is {"inputs": ..., "parameters": {...}}, as for zlpr serve.
"""

from typing import Any

from zlpr_hf import load_pipeline


class EndpointHandler:
    """Called by the endpoint: once with the folder of the model, then with each request."""

    def __init__(self, path: str = "") -> None:
        self.classify = load_pipeline(path)

    def __call__(self, data: dict[str, Any]) -> Any:
        """Return the predicted labels of a text, or one list of them per text of a list."""
        return self.classify(data["inputs"], **data.get("parameters") or {})
