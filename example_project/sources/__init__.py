"""The demo app: indexes the source trees of the installed packages, one task per package."""
