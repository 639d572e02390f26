"""pilotfish runs very many jobs, each on exactly the cores and memory that it asks for.

The public Python face comes with a later release; today the command ``pilotfish`` is the product.
"""

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
