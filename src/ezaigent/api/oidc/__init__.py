"""Signing in with an OpenID Connect provider: authorization code, PKCE, state and nonce.

What is read of the provider is never trusted further than its signature reaches.
"""
