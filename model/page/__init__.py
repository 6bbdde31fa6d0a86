"""The page of one or several runs: a Jinja2 template, matplotlib figures and the pictures of the gallery."""
