"""`moonshot doctor`: why calls fail, and what to do.

`command.py` is the command, `plan.py` says which checks follow which. `checks.py` are the checks; they look at
`network.py` (names and connections), `tls.py` and `certificates.py` (who answers), and `places.py` (which address a
call goes to, and by which proxy). `findings.py` is what they find.
"""
