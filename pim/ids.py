"""Time-ordered identifiers, made here because PostgreSQL has `uuidv7()` from version 18 only."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits."""
    return UUID(uuid7s(1)[0])


def uuid7s(count: int) -> list[str]:
    """`count` version 7 UUIDs of this millisecond as text, ascending, so that B-tree inserts stay local.

    The 12 bits after the time hold a counter's high part, the next 14 its low part; 48 bits stay random.
    """
    head = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | 0x2 << 62
    noise = os.urandom(6 * count)
    return [
        f"{head | (i >> 14 & 0xFFF) << 64 | (i & 0x3FFF) << 48 | int.from_bytes(noise[6 * i : 6 * i + 6], 'big'):032x}"
        for i in range(count)
    ]
