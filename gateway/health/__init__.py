"""How lanes are doing: breakers, rests, quotas and room, each a pure module, behind one door (``monitor``)."""
