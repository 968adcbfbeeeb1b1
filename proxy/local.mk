# proxy/ includes formats/ and common/.
