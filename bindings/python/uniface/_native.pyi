# The extension is private: its functions take addresses. What they are is said in bindings/python/src.
from typing import Any

def __getattr__(name: str) -> Any: ...
