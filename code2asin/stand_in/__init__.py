"""A local stand-in for Amazon: tokens, Catalog Items, pricing and images, with the real service's limits and oddities.

For development, demonstrations and tests. It needs no Django and keeps everything in memory.
"""
