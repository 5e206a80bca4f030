"""Conversations: turns, each of which goes on from the images before. :mod:`gateway.chat.chat` is the way in."""
