"""Readers of data sets, one module and one ``Source`` each."""
