"""Customer ids that a spreadsheet would run, and ids that it would not."""

RUN = (
    "=1+1", "@SUM(A1)", "=", "@home", " =1", "\u00a0=1", "\u200b@1", "\ufeff=1", "\u2060\u3000=1", ";=1", "\t@1",
    "\uff1d1", "\uff20x", "+cmd|' /C calc'!A0", "-SUM(1)", " +A!B1", "\u00ad=1", "\r\n=1",
)  # fmt: skip
HARMLESS = (
    "CUST00000001", "-42", "+42", "-1A", "+A-1", "--", "00042", "1E5", "a=b", "a@b", "#=1", "'=1", "\u00e9=1", "_=",
    "A(1)", "\u674e", " 42", "{2b-4f}", "", "(1)", "1;=1",
)  # fmt: skip
