"""How the loops of the server are compiled: by numba, and kept for the next start.

numba saves the compiled code next to the file of the loop, or in NUMBA_CACHE_DIR, for the next start on the same kind
of processor. If it can write to neither place, it compiles at every start, which takes some seconds. Saved code is used
until that file changes. `_Cache` extends this to `vectors`, because its code is compiled into the loops. A loop must
not call one of another file, whose changes numba does not see.

numba's own classes have no annotations: this is the reason of every `type: ignore` here.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

from serving import vectors


class _Cache(FunctionCache):  # type: ignore[misc, unused-ignore]
    """A cache of compiled code that is valid until `vectors` changes."""

    _vectors = hashlib.sha256(Path(vectors.__file__).read_bytes()).hexdigest()

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return super()._index_key(sig, codegen), self._vectors  # type: ignore[no-untyped-call]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a loop for the types of its arguments when it is called first, or load its saved code."""
    dispatcher: Any = numba.njit(function, nogil=True, fastmath=True)
    with contextlib.suppress(RuntimeError):  # no writable place for a cache
        dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
    return dispatcher
