/* memcmp and bcmp for the static programs: those that zig links compare byte by byte, and then a third of the
   time of a count goes there (docs/adr/0005). Eight bytes at once; for little-endian machines. */

typedef __SIZE_TYPE__ size_t;
typedef unsigned char byte;
typedef unsigned long long word;

static word word_at(const byte *at) {
  word it;
  __builtin_memcpy(&it, at, sizeof it);
  return it;
}

int memcmp(const void *a, const void *b, size_t n) {
  const byte *x = a, *y = b;
  for (; n >= 8; x += 8, y += 8, n -= 8) {
    word p = word_at(x), q = word_at(y);
    if (p != q) return __builtin_bswap64(p) < __builtin_bswap64(q) ? -1 : 1;
  }
  for (; n; x++, y++, n--)
    if (*x != *y) return *x - *y;
  return 0;
}

int bcmp(const void *a, const void *b, size_t n) {
  const byte *x = a, *y = b;
  if (n < 8) return memcmp(a, b, n);
  /* The last eight overlap those before them. */
  for (size_t at = 0; at < n - 8; at += 8)
    if (word_at(x + at) != word_at(y + at)) return 1;
  return word_at(x + n - 8) != word_at(y + n - 8);
}
