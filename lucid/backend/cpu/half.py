"""bfloat16 and float16 to float32 and back, on their bits; emit.py calls it.

Rounding is to nearest, ties to even, with denormals, the same bits on every target. The native
bfloat16 conversion is not used: it flushes denormals.
"""

from lucid.backend.cpu.llvm import Function, Value, like


def float_from_bfloat(f: Function, x: Value) -> Value:
    """i16 bits to float: exact."""
    wide = f.cast(x, "zext", like(x.kind, "i32")) << 16
    return f.cast(wide, "bitcast", like(x.kind, "float"))


def bfloat_from_float(f: Function, x: Value) -> Value:
    bits = f.cast(x, "bitcast", like(x.kind, "i32"))
    rounded = (bits + ((bits >> 16) & 1) + 0x7FFF) >> 16
    quiet = ((bits >> 16) & 0x8000) | 0x7FC0
    return f.cast(f.select(x.ne(x), quiet, rounded), "trunc", like(x.kind, "i16"))


def float_from_half(f: Function, x: Value, native: bool) -> Value:
    """i16 bits to float: exact."""
    floating = like(x.kind, "float")
    if native:
        return f.cast(f.cast(x, "bitcast", like(x.kind, "half")), "fpext", floating)
    wide = f.cast(x, "zext", like(x.kind, "i32"))
    moved = (wide & 0x7FFF) << 13
    # The exponent's bias moves from 15 to 127, denormals included.
    scaled = f.cast(f.cast(moved, "bitcast", floating) * 2.0**112, "bitcast", moved.kind)
    special = moved | 0x7F800000
    # a signalling NaN becomes quiet, as the instruction has it
    special = f.select(moved > 0x0F800000, special | 0x400000, special)
    size = f.select(moved >= 0x0F800000, special, scaled)
    return f.cast(size | ((wide & 0x8000) << 16), "bitcast", floating)


def half_from_float(f: Function, x: Value, native: bool) -> Value:
    if native:
        small = f.cast(x, "fptrunc", like(x.kind, "half"))
        return f.cast(small, "bitcast", like(x.kind, "i16"))
    bits = f.cast(x, "bitcast", like(x.kind, "i32"))
    size = bits & 0x7FFFFFFF
    normal = (size + ((size >> 13) & 1) + (0xFFF - (112 << 23))) >> 13
    # Adding 0.5 puts the last bit of a float16 denormal last in the float.
    shifted = f.cast(size, "bitcast", x.kind) + 0.5
    denormal = f.cast(shifted, "bitcast", bits.kind) - 0x3F000000
    result = f.select(size < 0x38800000, denormal, normal)
    result = f.select(size >= 0x47800000, f.constant(0x7C00, bits.kind), result)
    nan = ((size >> 13) & 0x3FF) | 0x7E00
    result = f.select(size > 0x7F800000, nan, result)
    return f.cast(result | ((bits >> 16) & 0x8000), "trunc", like(x.kind, "i16"))
