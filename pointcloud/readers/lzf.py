"""LZF decompression, as PCD files use it. Written from the format: literal runs and back references."""

from __future__ import annotations


class LzfError(ValueError):
    """The stream is not LZF, or not of the announced length; ``offset`` is the byte in the stream."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def decompress(data: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes from ``data``; raises `LzfError`. Never grows beyond ``size``.

    A control byte below 32 announces that many literals plus one. Otherwise its upper three bits plus two (7: plus
    the next byte) are the length, its lower five bits and the following byte the distance minus one.
    """
    out = bytearray()
    i, n = 0, len(data)
    while i < n:
        start = i
        control = data[i]
        i += 1
        if control < 32:
            length = control + 1
            if i + length > n:
                raise LzfError("a run of literals is cut off", start)
            out += data[i : i + length]
            i += length
        else:
            length = control >> 5
            if length == 7:
                if i >= n:
                    raise LzfError("a length is cut off", start)
                length += data[i]
                i += 1
            length += 2
            if i >= n:
                raise LzfError("a distance is cut off", start)
            distance = ((control & 31) << 8) + data[i] + 1
            i += 1
            if distance > len(out):
                raise LzfError("a reference points before the start", start)
            begin = len(out) - distance
            if distance >= length:
                out += out[begin : begin + length]
            else:  # the copy overlaps itself: the piece repeats
                piece = bytes(out[begin:])
                out += (piece * (length // distance + 1))[:length]
        if len(out) > size:
            raise LzfError(f"gives more than the announced {size} bytes", start)
    if len(out) != size:
        raise LzfError(f"gives {len(out)} of the announced {size} bytes", n)
    return bytes(out)
