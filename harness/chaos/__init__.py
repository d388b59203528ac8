"""Runs the platform under load while its processes and servers are killed, and then checks every slot."""
