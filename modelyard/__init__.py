"""Modelyard serves machine-learning models on your own hosts.

import modelyard
yard = modelyard.Client("localhost:8001")
outputs = yard.infer("resnet", x=array)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard import aio, errors
    from modelyard.client import Client

__all__ = ["Client", "aio", "errors"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for: the programs and the CLI must not wait for numpy and gRPC to import one module."""
    import importlib

    if name == "Client":
        return importlib.import_module("modelyard.client").Client
    if name in __all__:
        return importlib.import_module(f"modelyard.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
