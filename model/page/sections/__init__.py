"""The sections of the page: from evaluated runs to plain values for the template."""
