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

    static Map object(Object text) {
        Object found = new JsonSlurper().parseText(text as String)
        found instanceof Map ? (Map) found : [:]
    }

    static Map read(String path) {
        object(Files.readString(Path.of(path)))
    }
}
