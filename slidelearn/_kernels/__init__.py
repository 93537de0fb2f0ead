"""Compiled kernels: nogil code that only fills arrays which its callers allocated."""
