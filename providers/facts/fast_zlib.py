"""zlib as Intel writes it, where there is a wheel of it: checksums five times and inflating twice as fast."""

from __future__ import annotations

try:
    from isal import isal_zlib as zlib
except ImportError:  # there are no wheels for rare platforms
    import zlib  # type: ignore[no-redef]

__all__ = ["zlib"]
