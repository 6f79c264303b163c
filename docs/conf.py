"""How the documentation is built: `make docs`. The pages ask no network for anything."""

import genmatter

project = "genmatter"
author = "the genmatter developers"
copyright = "2026, the genmatter developers"
release = version = genmatter.__version__
extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
exclude_patterns = ["_build", "**/jupyter_execute"]
html_theme = "furo"
html_title = "genmatter"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # they would be loaded from a network
