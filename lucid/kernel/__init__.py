"""The language of kernels: scalar expressions, loop nests, and their defining interpreter."""
