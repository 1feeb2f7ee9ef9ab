import groovy.json.JsonGenerator
import groovy.json.JsonSlurper
import groovy.transform.CompileStatic
import java.nio.file.Files
import java.nio.file.Path

/** JSON as the other adapters write it: compact, and what is not ASCII as it is. */
@CompileStatic
class Json {
    static final JsonGenerator generator = new JsonGenerator.Options().disableUnicodeEscaping().build()

    static String text(Object value) {
        generator.toJson(value)
    }

    /** Safe to share among threads. The parser's own maps are not: they fill themselves when they are first read. */
    static Map object(Object text) {
        Object found = plain(new JsonSlurper().parseText(text as String))
        found instanceof Map ? (Map) found : [:]
    }

    static Map read(String path) {
        object(Files.readString(Path.of(path)))
    }

    private static Object plain(Object parsed) {
        if (parsed instanceof Map) {
            Map<Object, Object> fields = new LinkedHashMap<>()
            ((Map<Object, Object>) parsed).each { Object name, Object value -> fields.put(name, plain(value)) }
            return fields
        }
        parsed instanceof List ? ((List<Object>) parsed).collect { Object item -> plain(item) } : parsed
    }
}
