"""Outputs of steps with ``cache: inputs``, on disk: a later run takes them where it would make the same call.

::

    a step would start ─▶ CachedOutputs.find ─▶ CacheFile, by the digest of the call ─▶ its output, or it runs
    it succeeded       ─▶ CachedOutputs ─▶ one thread ─▶ CacheFile

Rules of this package:
- A cache never harms its run: what is wrong with it is said once, and the steps run.
- Digests alone distinguish calls; no prompt, argument, header or key is kept. Outputs are kept as they are.
- Steps without ``cache`` pay one look at their class.
"""
