"""The device host: leases jobs from a Stillhouse server and times networks through OpenVINO.

Depends on: the standard library and numpy; a runtime only inside backends/. Python 3.8.
"""
