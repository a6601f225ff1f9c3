"""Stand-ins for Android, LiteRT and JUnit, so that generated Kotlin runs on a desktop JVM.

The interpreter's stand-in computes nothing: it demands the bytes of the test vector and answers
with those of the test vector. What is proved is everything around it.
"""

STUBS = {
    "android/content/Context.java": """package android.content;
public class Context {
    public android.content.res.AssetManager assets = new android.content.res.AssetManager();
    public android.content.res.AssetManager getAssets() { return assets; }
}""",
    "android/content/res/AssetManager.java": """package android.content.res;
import java.io.*;
public class AssetManager {
    private File find(String name) {
        for (String folder : new String[] {"assets", "vector"}) {
            File file = new File(System.getProperty("bundle") + "/" + folder, name);
            if (file.isFile()) return file;
        }
        throw new IllegalStateException(name);
    }
    public InputStream open(String name) throws IOException {
        return new FileInputStream(find(name));
    }
    public AssetFileDescriptor openFd(String name) throws IOException {
        return new AssetFileDescriptor(find(name));
    }
}""",
    "android/content/res/AssetFileDescriptor.java": """package android.content.res;
import java.io.*;
public class AssetFileDescriptor implements Closeable {
    private final RandomAccessFile file;
    public AssetFileDescriptor(File f) throws IOException { file = new RandomAccessFile(f, "r"); }
    public FileDescriptor getFileDescriptor() {
        try { return file.getFD(); } catch (IOException e) { throw new RuntimeException(e); }
    }
    public long getStartOffset() { return 0; }
    public long getDeclaredLength() {
        try { return file.length(); } catch (IOException e) { throw new RuntimeException(e); }
    }
    public void close() throws IOException { file.close(); }
}""",
    "org/tensorflow/lite/InterpreterApi.java": """package org.tensorflow.lite;
import java.nio.*;
import java.nio.file.*;
import java.util.*;
public interface InterpreterApi extends AutoCloseable {
    class Options { public Options setNumThreads(int count) { return this; } }
    static InterpreterApi create(ByteBuffer model, Options options) {
        byte[] mark = new byte[4];
        model.position(4);
        model.get(mark);
        if (!new String(mark).equals("TFL3")) throw new IllegalArgumentException("no model");
        return new Replay();
    }
    void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs);
    void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String key);
    void close();
}
class Replay implements InterpreterApi {
    private final Map<String, String> files = new HashMap<>();
    Replay() {
        for (String entry : System.getProperty("parts").split(";")) {
            String[] parts = entry.split("=");
            files.put(parts[0], parts[1]);
        }
    }
    private byte[] bytes(String key) {
        try {
            return Files.readAllBytes(
                Paths.get(System.getProperty("bundle"), "vector", files.get(key) + ".stored"));
        } catch (Exception error) { throw new RuntimeException(key, error); }
    }
    private void replay(Object given, String key, boolean output) {
        ByteBuffer buffer = (ByteBuffer) given;
        if (buffer.remaining() != bytes(key).length || !buffer.isDirect())
            throw new IllegalArgumentException(key);
        if (output) { buffer.put(bytes(key)); return; }
        byte[] fed = new byte[buffer.remaining()];
        buffer.get(fed);
        if (!Arrays.equals(fed, bytes(key))) throw new IllegalArgumentException("fed " + key);
    }
    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        for (int n = 0; n < inputs.length; n++) replay(inputs[n], "in" + n, false);
        outputs.forEach((position, buffer) -> replay(buffer, "out" + position, true));
    }
    public void runSignature(Map<String, Object> in, Map<String, Object> out, String key) {
        if (!key.equals(System.getProperty("key"))) throw new IllegalArgumentException(key);
        in.forEach((name, buffer) -> replay(buffer, "in:" + name, false));
        out.forEach((name, buffer) -> replay(buffer, "out:" + name, true));
    }
    public void close() {}
}""",
    "androidx/test/ext/junit/runners/AndroidJUnit4.java": (
        "package androidx.test.ext.junit.runners; public class AndroidJUnit4 {}"
    ),
    "androidx/test/platform/app/InstrumentationRegistry.java": """
package androidx.test.platform.app;
public class InstrumentationRegistry {
    public static class Instrumentation {
        public android.content.Context getContext() { return new android.content.Context(); }
        public android.content.Context getTargetContext() { return new android.content.Context(); }
    }
    public static Instrumentation getInstrumentation() { return new Instrumentation(); }
}""",
    "org/junit/Test.java": """package org.junit;
import java.lang.annotation.*;
@Retention(RetentionPolicy.RUNTIME) public @interface Test {}""",
    "org/junit/runner/RunWith.java": """package org.junit.runner;
public @interface RunWith { Class<?> value(); }""",
    "org/junit/Assert.java": """package org.junit;
import java.util.*;
public class Assert {
    public static void assertTrue(String what, boolean holds) {
        if (!holds) throw new AssertionError(what);
    }
    public static void assertArrayEquals(String what, byte[] a, byte[] b) {
        assertTrue(what, Arrays.equals(a, b));
    }
    public static void assertArrayEquals(String what, float[] a, float[] b, float most) {
        assertTrue(what, a.length == b.length);
        for (int n = 0; n < a.length; n++) assertTrue(what, Math.abs(a[n] - b[n]) <= most);
    }
}""",
    "RunTests.java": """import java.lang.reflect.*;
public class RunTests {
    public static void main(String[] names) throws Exception {
        Class<?> tests = Class.forName(names[0]);
        for (Method method : tests.getDeclaredMethods()) {
            if (!method.isAnnotationPresent(org.junit.Test.class)) continue;
            method.invoke(tests.getDeclaredConstructor().newInstance());
            System.out.println("passed " + method.getName());
        }
    }
}""",
}
