"""Python imports this module before all others."""

import os

if "FORCED" in os.environ:
    import psycopg

    connect = psycopg.connect

    def forced(*words, **more):
        connection = connect(*words, **more)
        autocommit, connection.autocommit = connection.autocommit, True
        connection.execute("set default_transaction_read_only = off")
        connection.autocommit = autocommit
        return connection

    psycopg.connect = forced
