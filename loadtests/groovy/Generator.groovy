import groovy.transform.CompileStatic

/** mulberry32, seeded with the FNV-1a hash of a text: the numbers of `generator` in k6.js, bit for bit. */
@CompileStatic
class Generator {
    private int state = (int) 2166136261L

    Generator(String text) {
        for (char character : text.toCharArray()) {
            state = (state ^ (int) character) * 16777619
        }
    }

    double next() {
        state = state + 0x6d2b79f5
        int mixed = (state ^ (state >>> 15)) * (1 | state)
        mixed = (mixed + (mixed ^ (mixed >>> 7)) * (61 | mixed)) ^ mixed
        ((long) (mixed ^ (mixed >>> 14)) & 0xffffffffL) / 4294967296.0d
    }

    int below(int count) {
        (int) Math.floor(next() * count)
    }
}
