"""The fleet's tools for programs that speak the Model Context Protocol: a third door beside HTTP and the commands.

What a tool does is what its route does. The library is imported in ``library`` alone, and only once somebody comes.
"""
