"""Encode photos on many machines: a plan lists them in shards, workers encode, a library imports.

A plan is a folder that every machine reaches. It lists the photos of each shard by path. A worker
needs the plan, the photos and the model, but no library. A shard is done when its record exists, so
workers may be killed, and started again, at any time.
"""
