"""Evidence for live mode: a sample of answers made a second time by the candidate, and compared.

    planned -> delivered -> asked -> compared -> scored -> judged

Pure: ``wilson`` (bounds), ``ladder`` (how far a kind may go), ``sampling``, ``checks`` with
``schema`` and ``wording``, ``masking``. With a clock or a socket: ``budget``, ``book`` (all
standings), ``ask`` (one question to a candidate), ``verifier`` (what runs in the background).
Texts live as long as one comparison; only scores are kept.
"""
