"""`torch.nn.attention.flex_attention`: can be named; calling it raises.

Called by finder.py.
"""

from lucid.compat.answers.refuse import refused, refused_class

_WHY = "Lucid has no flex_attention; pass a mask to scaled_dot_product_attention"
_FULL = "torch.nn.attention.flex_attention."
_DEFAULT_SPARSE_BLOCK_SIZE = 128

AuxOutput = refused_class(_FULL + "AuxOutput", _WHY)
AuxRequest = refused_class(_FULL + "AuxRequest", _WHY)
BlockMask = refused_class(_FULL + "BlockMask", _WHY)
create_block_mask = refused(_FULL + "create_block_mask", _WHY)
create_mask = refused(_FULL + "create_mask", _WHY)
flex_attention = refused(_FULL + "flex_attention", _WHY)
