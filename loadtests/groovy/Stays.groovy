import groovy.transform.CompileStatic

/** When a user is there: from where the shape's lines (shape.py) rise to its number to where they fall below it. */
@CompileStatic
class Stays {
    static Deque<double[]> of(int number, List<Map> stages) {
        Deque<double[]> stays = new ArrayDeque<>()
        double ends = 0, from = -1
        int before = 0
        for (Map stage : stages) {
            int target = stage.target as int
            double seconds = stage.seconds as double
            double crossed = target == before ? 0 : ends + seconds * (number - before) / (target - before)
            if (before < number && number <= target) {
                from = crossed
            } else if (target < number && number <= before) {
                stays.add([from, crossed] as double[])
                from = -1
            }
            before = target
            ends += seconds
        }
        if (from >= 0) {
            stays.add([from, ends] as double[])
        }
        stays
    }
}
