"""Scripts beside the package."""
