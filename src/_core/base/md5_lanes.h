/* MD5 of many messages side by side: a template, included once for each instruction set.
 *
 * One message alone is bound by the latency of its 64 dependent steps. Here each lane of a vector holds another
 * message, and two such vectors ("groups") take turns, so that one computes while the other waits for its result.
 *
 * The including file defines, and this one undefines:
 *   LANES_NAME         ending of the names of the functions made here
 *   LANES_TARGET       function attribute that enables the instructions, or nothing
 *   LANES_TYPE         LANES_EACH times uint32_t; the operators + & | ^ ~ work on each
 *   LANES_EACH         1, or a multiple of 4, at most 16
 *   LANES_REGISTER     constraint letter, in inline assembly, of the registers that hold a LANES_TYPE
 * unless LANES_EACH is 1:
 *   LANES_ROW(p, at)   16 bytes at offset `at` from each of p[0], p[1]... until the vector is full
 *   LANES_LO32(x, y), LANES_HI32, LANES_LO64, LANES_HI64
 *                      the lower or upper halves of each 128 bits of x and y interleaved, by words or by pairs of words
 * and where the instruction set has something better than the usual:
 *   LANES_TAIL, as write_tail; LANES_ADD_F(sum, x, y, z), LANES_ADD_G, LANES_ADD_H, LANES_ADD_I, LANES_ROTATE(x, n)
 */
#define LANES_PASTE_(a, b) a##b
#define LANES_PASTE(a, b) LANES_PASTE_(a, b)
#define LANES_(name) LANES_PASTE(name, LANES_NAME)
#define LANES_WIDTH (2 * LANES_EACH)

#ifndef LANES_TAIL
#define LANES_TAIL write_tail
#endif
#ifndef LANES_ROTATE
#define LANES_ROTATE MD5_ROTATE
#define LANES_ADD_F MD5_ADD_F
#define LANES_ADD_G MD5_ADD_G
#define LANES_ADD_H MD5_ADD_H
#define LANES_ADD_I MD5_ADD_I
#endif

#if LANES_EACH == 1
#define LANES_PLACE(lane) (lane)
#else
/* Where a lane stands in the vectors of its state: the lanes of one row stand four apart, as transposing puts them. */
#define LANES_ROW_SIZE (LANES_EACH / 4)
#define LANES_PLACE(lane) ((lane) / LANES_EACH * LANES_EACH + \
                           (lane) % LANES_ROW_SIZE * 4 + (lane) % LANES_EACH / LANES_ROW_SIZE)

/* 4 x 4 words transposed within each 128 bits. */
LANES_TARGET MD5_INLINE void LANES_(transpose_)(LANES_TYPE to[4], LANES_TYPE r0, LANES_TYPE r1, LANES_TYPE r2,
                                                LANES_TYPE r3)
{
    LANES_TYPE lo01 = LANES_LO32(r0, r1), lo23 = LANES_LO32(r2, r3);
    LANES_TYPE hi01 = LANES_HI32(r0, r1), hi23 = LANES_HI32(r2, r3);
    to[0] = LANES_LO64(lo01, lo23), to[1] = LANES_HI64(lo01, lo23);
    to[2] = LANES_LO64(hi01, hi23), to[3] = LANES_HI64(hi01, hi23);
}
#endif

/* Words `at` to `at` + 3 of a block for each lane of a group: words[w] holds word w of every lane. */
LANES_TARGET MD5_INLINE void LANES_(load_)(LANES_TYPE words[16], const unsigned char *const block[LANES_EACH], int at)
{
#if LANES_EACH == 1
    for (int w = at; w < at + 4; w++)
        words[w] = load32(block[0] + 4 * w);
#else
    LANES_(transpose_)(words + at, LANES_ROW(block, 4 * at), LANES_ROW(block + LANES_ROW_SIZE, 4 * at),
                       LANES_ROW(block + 2 * LANES_ROW_SIZE, 4 * at), LANES_ROW(block + 3 * LANES_ROW_SIZE, 4 * at));
#endif
}

/* Compresses one block (RFC 1321, 3.4) in every lane. state[w] holds word w of every lane's state. */
LANES_TARGET MD5_INLINE void LANES_(compress_)(LANES_TYPE state[4][2], const unsigned char *const block[LANES_WIDTH])
{
    LANES_TYPE x0[16], x1[16];
    LANES_TYPE a0 = state[0][0], b0 = state[1][0], c0 = state[2][0], d0 = state[3][0];
    LANES_TYPE a1 = state[0][1], b1 = state[1][1], c1 = state[2][1], d1 = state[3][1];
    /* From memory a constant costs one load, as an immediate a move to a vector register: so the table is hidden. */
    const uint32_t *constant = md5_constants;
    __asm__("" : "+r"(constant));
    /* Each word is loaded when the first round comes to need it, so that the work hides the wait for the loads. */
#define LANES_LOAD_F(k) \
    if (k % 4 == 0) \
        LANES_(load_)(x0, block, k), LANES_(load_)(x1, block + LANES_EACH, k);
#define LANES_LOAD_G(k)
#define LANES_LOAD_H(k)
#define LANES_LOAD_I(k)
#define LANES_STEP(f, a, b, c, d, k, s, t) \
    LANES_LOAD_##f(k) \
    a##0 += *constant, a##1 += *constant, constant++; \
    a##0 += x0[k], a##1 += x1[k]; \
    MD5_FIRST(LANES_REGISTER, a##0) \
    MD5_FIRST(LANES_REGISTER, a##1) \
    a##0 = LANES_ADD_##f(a##0, b##0, c##0, d##0); \
    a##1 = LANES_ADD_##f(a##1, b##1, c##1, d##1); \
    a##0 = LANES_ROTATE(a##0, s) + b##0; \
    a##1 = LANES_ROTATE(a##1, s) + b##1;
    MD5_STEPS(LANES_STEP)
#undef LANES_STEP
#undef LANES_LOAD_F
#undef LANES_LOAD_G
#undef LANES_LOAD_H
#undef LANES_LOAD_I
    state[0][0] += a0, state[1][0] += b0, state[2][0] += c0, state[3][0] += d0;
    state[0][1] += a1, state[1][1] += b1, state[2][1] += c1, state[3][1] += d1;
}

/* The lanes with a bit in `fresh` get the initial state: they begin a message. */
LANES_TARGET MD5_INLINE void LANES_(reset_)(LANES_TYPE state[4][2], uint32_t fresh)
{
#if LANES_EACH == 1
    for (int i = 0; i < LANES_WIDTH; i++)
        if (fresh >> i & 1)
            for (int w = 0; w < 4; w++)
                state[w][i] = ad_md5_initial_state[w];
#else
    uint32_t bits[LANES_EACH];
    for (int i = 0; i < LANES_EACH; i++)
        bits[LANES_PLACE(i)] = (uint32_t)1 << i;
    LANES_TYPE bit;
    memcpy(&bit, bits, sizeof bit);
    for (int g = 0; g < 2; g++) {
        LANES_TYPE keep = (LANES_TYPE)((bit & (fresh >> g * LANES_EACH)) == 0);
        for (int w = 0; w < 4; w++)
            state[w][g] = ((state[w][g] ^ ad_md5_initial_state[w]) & keep) ^ ad_md5_initial_state[w];
    }
#endif
}

/* The digest of every lane's state (RFC 1321, 3.5). */
LANES_TARGET MD5_INLINE void LANES_(store_)(unsigned char digest[LANES_WIDTH][16], LANES_TYPE state[4][2])
{
#if LANES_EACH == 1
    for (int i = 0; i < LANES_WIDTH; i++)
        for (int w = 0; w < 4; w++)
            store32(digest[i] + 4 * w, state[w][i]);
#else
    LANES_TYPE rows[4];
    for (int g = 0; g < 2; g++) {
        LANES_(transpose_)(rows, state[0][g], state[1][g], state[2][g], state[3][g]);
        memcpy(digest + g * LANES_EACH, rows, sizeof rows);
    }
#endif
}

/* Every lane works on a message of its own, whatever its length; the lane of a finished one takes the next job. */
LANES_TARGET static void LANES_(many_)(const ad_md5_job *jobs, size_t count)
{
    enum { WIDTH = LANES_WIDTH };
    LANES_TYPE state[4][2];
    _Alignas(64) unsigned char tail[WIDTH][MD5_TAIL_ROOM];
    _Alignas(64) unsigned char digests[WIDTH][16];
    unsigned char *digest[WIDTH];
    /* A lane with `left` blocks to go reads at origin - 64 * left: in the message itself while more blocks are left
     * than its tail has, then in its tail. Integers, for an origin may lie past the end of its message; narrow signed
     * ones are what every instruction set compares well. */
    uintptr_t body_origin[WIDTH];
    int32_t left[WIDTH], tail_blocks[WIDTH];
    const uint32_t all = (uint32_t)(((uint64_t)1 << WIDTH) - 1);
    uint32_t idle = all;        /* one bit for each lane */

    memset(state, 0, sizeof state);
    /* A lane without a job hashes the last block of its tail again and again: cheaper than to treat it apart. */
    for (int i = 0; i < WIDTH; i++) {
        left[i] = tail_blocks[i] = 1;
        body_origin[i] = 0;
        if ((size_t)i >= count)
            memset(tail[i] + MD5_TAIL_ROOM - 64, 0, 64);
    }

    for (;;) {
        if (idle) {
            LANES_(reset_)(state, idle);
            for (; idle && count; jobs++, count--) {
                if (MD5_IS_HUGE(jobs->size)) {
                    ad_md5(jobs->data, jobs->size, jobs->digest);
                    continue;
                }
                int i = __builtin_ctz(idle);
                idle &= idle - 1;
                tail_blocks[i] = (int32_t)LANES_TAIL(tail[i] + MD5_TAIL_ROOM, jobs->data, jobs->size, jobs->size);
                left[i] = (int32_t)(jobs->size / 64) + tail_blocks[i];
                body_origin[i] = (uintptr_t)jobs->data + 64 * (uintptr_t)left[i];
                digest[i] = jobs->digest;
            }
            uint32_t busy = all & ~idle;
            if (!(busy & (busy - 1)))
                break;
        }

        const unsigned char *block[WIDTH];
        uint32_t done = 0;
        for (int i = 0; i < WIDTH; i++) {
            uintptr_t at_body = body_origin[i], at_tail = (uintptr_t)tail + MD5_TAIL_ROOM * ((uintptr_t)i + 1);
            uintptr_t origin = left[i] > tail_blocks[i] ? at_body : at_tail;
            block[i] = (const unsigned char *)(origin - 64 * (uintptr_t)left[i]);
        }
        for (int i = 0; i < WIDTH; i++) {
            done |= left[i] == 1 ? (uint32_t)1 << i : 0;
            left[i] -= left[i] > 1;
        }
        /* Addresses computed in vectors are to be read back from memory, not picked out one by one. */
        __asm__("" : "+m"(block));
        LANES_(compress_)(state, block);
        done &= ~idle;
        if (done) {
            LANES_(store_)(digests, state);
            for (idle |= done; done; done &= done - 1) {
                int i = __builtin_ctz(done);
                memcpy(digest[i], digests[i], 16);
            }
        }
    }

    /* The last message alone, maybe a long one, is faster without the others' lanes. */
    if (idle != all) {
        int i = __builtin_ctz(all & ~idle), place = LANES_PLACE(i);
        uint32_t words[4][WIDTH], last[4];
        memcpy(words, state, sizeof words);
        for (int w = 0; w < 4; w++)
            last[w] = words[w][place];
        for (; left[i] > tail_blocks[i]; left[i]--)
            ad_md5_compress(last, (const unsigned char *)(body_origin[i] - 64 * (uintptr_t)left[i]));
        for (; left[i]; left[i]--)
            ad_md5_compress(last, tail[i] + MD5_TAIL_ROOM - 64 * left[i]);
        for (int w = 0; w < 4; w++)
            store32(digest[i] + 4 * w, last[w]);
    }
}

#undef LANES_PASTE_
#undef LANES_PASTE
#undef LANES_
#undef LANES_WIDTH
#undef LANES_PLACE
#undef LANES_ROW_SIZE
#undef LANES_NAME
#undef LANES_TARGET
#undef LANES_TYPE
#undef LANES_EACH
#undef LANES_REGISTER
#undef LANES_ROW
#undef LANES_LO32
#undef LANES_HI32
#undef LANES_LO64
#undef LANES_HI64
#undef LANES_TAIL
#undef LANES_ROTATE
#undef LANES_ADD_F
#undef LANES_ADD_G
#undef LANES_ADD_H
#undef LANES_ADD_I
