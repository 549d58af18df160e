"""`import lucid.compat.torch as torch`: Lucid under PyTorch's names.

Importing it also answers `import torch` and its submodules with Lucid from then on, in files that
are imported later too, unless PyTorch itself has been imported before.
"""

import sys

from lucid.compat import finder

finder.install(replace=False)
sys.modules[__name__] = finder.answer("torch")
