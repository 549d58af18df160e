"""What programs for PyTorch ask for beside tensors and layers; one file for each such module.

Called by finder.py alone. A switch that changes nothing here is inert; anything else that Lucid has
not raises when it is called, naming itself.
"""
