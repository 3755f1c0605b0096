// The rows that an object's SQL reads and writes, as SQLite counts them for the bill.

export class CountedRows {
  cursors = [];

  /** Wrap `sql` so that each statement is counted from now on. */
  constructor(sql) {
    this.sql = sql;
  }

  exec(...query) {
    const cursor = this.sql.exec(...query);
    this.cursors.push(cursor);
    return cursor;
  }

  /** What was read and written so far. A cursor counts only what its reader has taken. */
  rows() {
    return CountedRows.sum(
      this.cursors.map(({ rowsRead, rowsWritten }) => ({ objectRowsRead: rowsRead, objectRowsWritten: rowsWritten })),
    );
  }

  static sum(parts) {
    const total = { objectRowsRead: 0, objectRowsWritten: 0 };
    for (const { objectRowsRead, objectRowsWritten } of parts) {
      total.objectRowsRead += objectRowsRead;
      total.objectRowsWritten += objectRowsWritten;
    }
    return total;
  }
}
