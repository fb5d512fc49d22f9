"""`python -m stillhouse_service.cli`, for a caller that knows its interpreter and no PATH.

Depends on: the package.
"""

from stillhouse_service.cli import main

if __name__ == "__main__":
    main()
