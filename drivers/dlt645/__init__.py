"""Electricity meters that speak DL/T 645, of 2007 and of 1997."""
