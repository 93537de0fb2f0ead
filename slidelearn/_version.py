"""The version, alone in a module that needs no other package."""

__version__ = "0.1.0"
