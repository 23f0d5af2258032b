"""Real JPEG files without an imaging library: a symmetric figure in a colour derived from a key.

Every 8x8 block is of one colour, so a block is its DC coefficient alone (ITU-T T.81, baseline, 4:4:4).
"""

import colorsys
import hashlib
import struct
from functools import lru_cache

LARGE = 280
SMALL = 56

_GRID = 7  # a figure of 5x5 cells inside a margin of one
# Huffman table K.3 of T.81: the code of each DC difference size; the only AC symbol is "end of block".
_DC_LENGTHS = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
_DC_CODES = ("00", "010", "011", "100", "101", "110", "1110", "11110", "111110", "1111110", "11111110", "111111110")
_END_OF_BLOCK = "0"
_QUANTISER = 8  # a flat block's DC is 8 times its level: the stored coefficient is the level itself

Rgb = tuple[float, float, float]


@lru_cache(maxsize=4096)
def tile(key: str, *, view: int = 0, size: int = LARGE, tinted: bool = False) -> bytes:
    """A square JPEG of `size` pixels (a multiple of 56).

    The same `key` gives the same hue everywhere; `view` gives another figure in that hue; `tinted` puts it on a
    pale ground instead of white.
    """
    shape = hashlib.sha256(f"{key}/{view}".encode()).digest()
    hue = hashlib.sha256(key.encode()).digest()[0] / 256
    figure = _ycbcr(colorsys.hls_to_rgb(hue, 0.42, 0.6))
    ground = _ycbcr(colorsys.hls_to_rgb(hue, 0.92, 0.6) if tinted else (1.0, 1.0, 1.0))
    cells = [[figure if _filled(shape, row, column) else ground for column in range(_GRID)] for row in range(_GRID)]
    return _encode(cells, size)


def _filled(shape: bytes, row: int, column: int) -> bool:
    if not (0 < row < _GRID - 1 and 0 < column < _GRID - 1):
        return False
    mirrored = min(column, _GRID - 1 - column)
    return (row, mirrored) == (_GRID // 2, _GRID // 2) or shape[row * 3 + mirrored] % 5 > 1


def _ycbcr(rgb: Rgb) -> tuple[int, int, int]:
    """JFIF colour, each component shifted to -128..127."""
    red, green, blue = (255 * value for value in rgb)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return round(y) - 128, round((blue - y) / 1.772), round((red - y) / 1.402)


def _encode(cells: list[list[tuple[int, int, int]]], size: int) -> bytes:
    blocks = size // 8
    scale = blocks // _GRID
    previous = [0, 0, 0]
    bits = []
    for y in range(blocks):
        for x in range(blocks):
            for component, level in enumerate(cells[y // scale][x // scale]):
                bits.append(_dc_bits(level - previous[component]))
                previous[component] = level
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            _segment(0xDB, b"\0" + bytes([_QUANTISER]) * 64),
            _segment(0xC0, struct.pack(">BHHB", 8, size, size, 3) + b"\1\x11\0\2\x11\0\3\x11\0"),
            _segment(0xC4, b"\0" + _DC_LENGTHS + bytes(range(len(_DC_CODES)))),
            _segment(0xC4, b"\x10" + bytes([1]) + bytes(15) + b"\0"),
            _segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0"),
            scan,
            b"\xff\xd9",
        )
    )


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _dc_bits(difference: int) -> str:
    size = abs(difference).bit_length()
    if not size:
        return _DC_CODES[0] + _END_OF_BLOCK
    value = difference if difference > 0 else difference + (1 << size) - 1
    return _DC_CODES[size] + f"{value:0{size}b}" + _END_OF_BLOCK
