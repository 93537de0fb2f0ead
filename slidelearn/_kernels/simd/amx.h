/* LEAF(screen) of screen.h and LEAF(logits8) of bytes.h with AMX, whose tile registers multiply 16
 * rows of 64 bytes at once: the same integers, up to eight times as fast as with VNNI. The codes of
 * a sample lie side by side, one sample behind the other, as the rows of a register have them.
 *
 * Linux lets a process use these registers if it asks (amx_allowed), and gives each thread room for
 * them when it first does. */
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Shapes of registers, by `amx_begin`:
 *   0, 1  SCREEN_SAMPLES x 16 sums, of the first 16 classes and of the others
 *   2, 3  codes of the samples, SCREEN_SAMPLES x 64, and of 16 classes, 16 groups of 4 x 16
 *   4, 5  the same, of the groups that are left of the first groups1
 *   6, 7  the same, of groups2 */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shapes_t;

enum { AMX_GROUPS = 16 };

static void amx_begin(ptrdiff_t groups1, ptrdiff_t groups2) {
    const int left1 = groups1 % AMX_GROUPS, left2 = groups2 % AMX_GROUPS;
    const int depth[] = {AMX_GROUPS, left1, left2};
    amx_shapes_t shapes;
    memset(&shapes, 0, sizeof shapes);
    shapes.palette = 1;
    for (int i = 0; i < 2; i++) shapes.rows[i] = SCREEN_SAMPLES, shapes.row_bytes[i] = 64;
    for (int i = 0; i < 3; i++) {
        if (depth[i] == 0) continue;
        shapes.rows[2 * i + 2] = SCREEN_SAMPLES, shapes.row_bytes[2 * i + 2] = 4 * depth[i];
        shapes.rows[2 * i + 3] = depth[i], shapes.row_bytes[2 * i + 3] = 64;
    }
    __asm__ volatile("" : : "r"(&shapes) : "memory"); /* all of it is read */
    _tile_loadconfig(&shapes);
}

static void amx_end(void) { _tile_release(); }

/* One step of both sums: `dot` of a register of samples and of two of classes, one after the other.
 * Meanwhile it asks for as many codes of the next samples, which lie in the second cache. */
#define AMX_STEP(dot, a, b, h, row, codes, next)                                            \
    do {                                                                                    \
        _tile_loadd(a, h, row);                                                             \
        _tile_loadd(b, codes, 4 * SCREEN_CLASSES);                                          \
        dot(0, a, b);                                                                       \
        _tile_loadd(b, (codes) + 64, 4 * SCREEN_CLASSES);                                   \
        dot(1, a, b);                                                                       \
        UNROLL for (int i = 0; i < SCREEN_SAMPLES; i++) PREFETCH((next) + CACHE_LINE * i);  \
    } while (0)

/* sums[i][c] = the product of sample i's codes, which begin every `row` bytes, with those of class
 * c; a and b: the registers for what is left of groups / AMX_GROUPS; next: the next samples' codes. */
#define AMX_PRODUCTS(dot, a, b, groups, h, row, codes, next, sums)                                \
    do {                                                                                          \
        ptrdiff_t k = 0;                                                                          \
        _tile_zero(0);                                                                            \
        _tile_zero(1);                                                                            \
        for (; k + AMX_GROUPS <= (groups); k += AMX_GROUPS)                                       \
            AMX_STEP(dot, 2, 3, (h) + 4 * k, row, (codes) + 4 * k * SCREEN_CLASSES,               \
                     (next) + 4 * k * SCREEN_SAMPLES);                                            \
        if (k < (groups))                                                                         \
            AMX_STEP(dot, a, b, (h) + 4 * k, row, (codes) + 4 * k * SCREEN_CLASSES,               \
                     (next) + 4 * k * SCREEN_SAMPLES);                                            \
        _tile_stored(0, (sums), 4 * SCREEN_CLASSES);                                              \
        _tile_stored(1, (int32_t *)(sums) + 16, 4 * SCREEN_CLASSES);                              \
    } while (0)

/* All products are on their way before the first bound: that takes less time than waiting for the
 * others where they are needed. */
static int amx_screen(ptrdiff_t groups1, ptrdiff_t groups2, const int8_t *h, const int32_t *start,
                      const float *sample, const uint8_t *codes, const float *classes,
                      float *upper, uint32_t *kept) {
    _Alignas(64) int32_t sums[2][SCREEN_SAMPLES][SCREEN_CLASSES];
    const ptrdiff_t row = 4 * (groups1 + groups2), whole = SCREEN_SAMPLES * row;
    AMX_PRODUCTS(_tile_dpbsud, 4, 5, groups1, h, row, codes, h + whole, sums[0]);
    AMX_PRODUCTS(_tile_dpbsud, 6, 7, groups2, h + 4 * groups1, row,
                 codes + 4 * groups1 * SCREEN_CLASSES, h + whole + 4 * groups1 * SCREEN_SAMPLES,
                 sums[1]);
    if (!screen_first(sums[0], start, sample, classes)) return 0;
    return screen_second(sums, start, sample, classes, upper, kept) ? 2 : 1;
}

static void amx_logits8(ptrdiff_t groups, int n_samples, int n_classes, const uint8_t *h,
                        const float *sample_scale, const int8_t *codes, const float *class_scale,
                        const float *bias, float *z, ptrdiff_t z_row) {
    _Alignas(64) int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES];
    AMX_PRODUCTS(_tile_dpbusd, 4, 5, groups, h, 4 * groups, codes, h + 4 * groups * SCREEN_SAMPLES,
                 sums);
    avx512_scale8(n_samples, n_classes, sums, sample_scale, class_scale, bias, z, z_row);
}

/* Whether the processor has AMX for bytes and the system lets this process use it. */
static int amx_allowed(void) {
    enum { REQUEST = 0x1023 /* ARCH_REQ_XCOMP_PERM */, TILES = 18 /* XFEATURE_XTILEDATA */ };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 3) == 3 /* AMX-TILE, -INT8 */
           && syscall(SYS_arch_prctl, REQUEST, TILES) == 0;
}
