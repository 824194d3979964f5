"""Projects of older versions: the accounts of people who accepted move into the table `identities`."""

from sqlite3 import Connection

from napari_medseg.core.project.identities import READER, insert_reader

_KEEP_CORRECTIONS = """CREATE TRIGGER corrections_stay BEFORE UPDATE ON corrections
    BEGIN SELECT RAISE(ABORT, 'a correction is immutable'); END"""
_TABLES_WITH_READERS = """SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p
    WHERE m.type = 'table' AND p.name = 'who' ORDER BY m.name != 'reviews', m.name"""


def move_readers(connection: Connection) -> None:
    """Replace each account by its label; a step of the migrations, in their transaction."""
    known: set[str] = set()
    connection.execute("DROP TRIGGER corrections_stay")
    for (table,) in connection.execute(_TABLES_WITH_READERS).fetchall():
        for (account,) in connection.execute(f"SELECT who FROM {table} GROUP BY who ORDER BY min(rowid)").fetchall():
            if account not in known:
                known.add(account)
                insert_reader(connection, len(known), account)
        connection.execute(
            f"UPDATE {table} SET who = (SELECT subject FROM identities WHERE kind = ? AND value = {table}.who)",
            [READER],
        )
    connection.execute(_KEEP_CORRECTIONS)
