"""The doctor: what is wrong with this installation, and how to mend it.

``facts`` are gathered once (files, sockets, the providers' answers) and judged by pure functions, one
module a theme; ``words`` holds every sentence. Nothing here prints, and no fact holds a secret.
"""
