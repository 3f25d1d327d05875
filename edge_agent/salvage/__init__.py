"""Reads out of a damaged SQLite file every row that can still be read, without SQLite.

`edge_agent.salvage.salvage.Salvage` is what others use. The file format is https://www.sqlite.org/fileformat2.html.
"""
