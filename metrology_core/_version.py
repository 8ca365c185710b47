"""The version of the whole distribution; the build and the command line read it here, so this file imports nothing."""

__version__ = "0.1.0"
